// The code of the function node, which runs when the flow starts. A notification carries the whole event, and the topic is made from it.
const pg = global.get('pg');
const client = new pg.Client({ connectionString: global.get('database') });
client.on('error', (error) => node.error(error));
client.on('notification', (notification) => {
    const event = JSON.parse(notification.payload);
    const topic = `plant/${event.context.cell}/${event.entity.id}/${event.type.replaceAll('.', '/')}`;
    // No other node has the message, so it need not be cloned.
    node.send({ topic, payload: notification.payload }, false);
});
await client.connect();
await client.query('listen reports');
