# Keeps one server and one directory for an owner that may die at any moment. The owner holds the other end of stdin: a line starts the
# server, and the end of the stream means that the owner has finished or died. On stdout the keeper says `ready` once the directory
# exists, and `pid N` and `ended STATUS` for each run of the server.
# Arguments: the directory, the signal that ends the server, and the server's command.
dir=$1 signal=$2
shift 2
umask 077
trap '' PIPE
trap : HUP INT TERM

run() {
    "$@" </dev/null >>"$dir/log" 2>&1 &
    server=$!
    echo "$server" >"$dir/pid"
    : >"$dir/started"
    echo "pid $server"
    wait "$server"
    status=$?
    rm -f "$dir/pid"
    echo "ended $status"
}

mkdir "$dir" || exit 1
echo ready
while read -r _; do
    rm -f "$dir/started"
    run "$@" &
    until [ -e "$dir/started" ]; do sleep 0.01; done
done

if server=$(cat "$dir/pid" 2>/dev/null); then
    kill -"$signal" "$server"
    kill -CONT "$server" 2>/dev/null
    tries=0
    while [ -e "$dir/pid" ] && [ "$tries" -lt 200 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    if [ -e "$dir/pid" ]; then kill -KILL "$server"; fi
fi
wait
# What a dying server still writes can make the first attempts fail.
tries=0
until rm -rf "$dir" || [ "$tries" -ge 50 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
