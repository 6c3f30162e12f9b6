//! A proxy that behaves well, and proxies that do not. In: what a listener on loopback answers to a CONNECT. Out: the socket, or what people are
//! told. No name is looked up outside, and nothing is connected to but loopback.

use tokio::net::TcpListener;

use super::*;
use crate::egress::lookup::turns::Turns;

fn proxy(text: &str) -> Proxy {
    Proxy::parse(text).unwrap()
}

fn problem(text: &str) -> String {
    Proxy::parse(text).unwrap_err()
}

/// Looks up the addresses of this host.
fn lookup() -> Lookup {
    Lookup::by(|_, port| Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]), &Turns::default())
}

/// Asks a proxy that answers each request with the next of these texts. Returns what was asked, and what came of it.
async fn asked(login: &str, answers: &[&str], addresses: &[&str]) -> (Vec<String>, Result<TcpStream, String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asking = async {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let outcome = proxy(&format!("http://{login}proxy.plant:{port}"))
            .connect(("erp.example", 443), &addresses, &lookup(), LONGEST_WAIT)
            .await;
        outcome.map_err(|error| error.to_string().replace(&port.to_string(), "3128"))
    };
    let answering = async {
        let (mut requests, mut open) = (Vec::new(), Vec::new());
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(socket.read_u8().await.unwrap());
            }
            requests.push(String::from_utf8(request).unwrap());
            // The client may have read enough before the end.
            socket.write_all(answer.as_bytes()).await.ok();
            if answer.is_empty() {
                socket.shutdown().await.unwrap();
            }
            open.push(socket);
        }
        (requests, open)
    };
    let ((requests, _open), outcome) = tokio::join!(answering, asking);
    (requests, outcome)
}

#[test]
fn an_address_of_a_proxy_is_read_and_its_password_is_never_shown() {
    let plain = proxy("http://proxy.plant:3128");
    let login = proxy(" http://and%6fn:p%3A+w@[::1]:8080/\n");

    assert_eq!((plain.to_string(), plain.authorization), ("proxy.plant:3128".to_owned(), None));
    assert_eq!(format!("{login} {login:?}"), "[::1]:8080 Proxy([::1]:8080)");
    assert_eq!(login.authorization.unwrap().expose(), format!("Basic {}", STANDARD.encode("andon:p:+w")));
    let bad = [
        "proxy.plant:3128",
        "https://u:s3cret@proxy.plant",
        "socks5://u:s3cret@proxy.plant",
        "http://u:s3cret@proxy.plant/s3cret",
        "http://u:s3cret@",
        "http://u%3A:s3cret@proxy.plant",
        "s3cret",
        "http://proxy.plant:s3cret",
    ];
    let problems = bad.map(problem).join("\n");
    assert!(!problems.contains("s3cret"), "{problems}");
    insta::assert_snapshot!(problems, @r"
    is not the address of a proxy of HTTP without TLS; write http://host:port, with user:password@ before the host if the proxy wants them
    is not the address of a proxy of HTTP without TLS; write http://host:port, with user:password@ before the host if the proxy wants them
    is not the address of a proxy of HTTP without TLS; write http://host:port, with user:password@ before the host if the proxy wants them
    is more than the address of a proxy; write http://host:port, with user:password@ before the host if the proxy wants them
    is not the address of a proxy: empty host; write http://host:port, with user:password@ before the host if the proxy wants them
    has a user with a colon, which no proxy understands
    is not the address of a proxy: relative URL without a base; write http://host:port, with user:password@ before the host if the proxy wants them
    is not the address of a proxy: invalid port number; write http://host:port, with user:password@ before the host if the proxy wants them
    ");
}

#[tokio::test]
async fn the_judged_address_is_asked_for_and_the_next_one_if_the_proxy_does_not_reach_it() {
    let established = "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
    let answers = ["HTTP/1.1 502 Bad Gateway\r\n\r\n", established];

    let (requests, outcome) = asked("u:p@", &answers, &["[2001:db8::1]:443", "192.0.2.1:443"]).await;

    assert!(outcome.is_ok(), "{outcome:?}");
    let wanted = "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n";
    assert_eq!(requests[1], wanted);
    assert!(
        requests[0].starts_with("CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n"),
        "{requests:?}"
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_proxy_is_told_as_its_own_fault_and_without_its_words() {
    let mut told = Vec::new();
    for (login, answer) in [
        ("", "HTTP/1.1 407 s3cret\r\nProxy-Authenticate: Basic\r\n\r\n"),
        ("u:s3cret@", "HTTP/1.1 407 s3cret\r\n\r\ns3cret"),
        ("", "HTTP/1.0 403 Forbidden\r\n\r\n"),
        ("", "HTTP/1.1 502 Bad Gateway\r\n\r\n"),
        ("", "HTTP/1.1 302 s3cret\r\n\r\n"),
        ("", "HTTP/1.1 two hundred\r\n\r\n"),
        ("", "HTTP/1.1 200 OK\r\n\r\ns3cret"),
        ("", "SSH-2.0-s3cret\r\n"),
        ("", ""),
        ("", &format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "s3cret".repeat(LONGEST_HEAD))),
    ] {
        told.push(asked(login, &[answer], &["192.0.2.1:443"]).await.1.unwrap_err());
    }

    let told = told.join("\n");
    assert!(!told.contains("s3cret") && !told.contains("192.0.2.1"), "{told}");
    insta::assert_snapshot!(told, @r"
    the proxy proxy.plant:3128 of [egress] wants a user and a password (it answered 407); write them into egress.proxy
    the proxy proxy.plant:3128 of [egress] does not take the user and the password of egress.proxy (it answered 407)
    the proxy proxy.plant:3128 of [egress] may not connect to the address of erp.example port 443 (it answered 403); allow that there
    the proxy proxy.plant:3128 of [egress] cannot reach erp.example:443 (it answered 502); see what it logs
    the proxy proxy.plant:3128 of [egress] does not connect to erp.example:443 (it answered 302); see what it logs
    the proxy proxy.plant:3128 of [egress] does not answer as a proxy of HTTP does; name another port or proxy
    the proxy proxy.plant:3128 of [egress] sends what nobody asked for behind its answer; name another port or proxy
    the proxy proxy.plant:3128 of [egress] does not answer as a proxy of HTTP does; name another port or proxy
    the proxy proxy.plant:3128 of [egress] closed the connection before it answered; see what it logs
    the proxy proxy.plant:3128 of [egress] does not answer as a proxy of HTTP does; name another port or proxy
    ");
}

#[tokio::test]
async fn a_proxy_that_is_away_or_says_nothing_is_named_in_time() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = ["192.0.2.1:443".parse().unwrap()];
    let at = |port: u16| proxy(&format!("http://proxy.plant:{port}"));

    let away =
        at(closed).connect(("erp.example", 443), &address, &lookup(), LONGEST_WAIT).await.unwrap_err().to_string();
    let mute = at(silent.local_addr().unwrap().port())
        .connect(("erp.example", 443), &address, &lookup(), Duration::from_millis(50))
        .await
        .unwrap_err()
        .to_string();

    assert!(
        away.contains("of [egress] cannot be reached: ") && away.ends_with("; see whether it runs there"),
        "{away}"
    );
    assert!(mute.ends_with("of [egress] has not connected within 50ms; see whether it works"), "{mute}");
}
