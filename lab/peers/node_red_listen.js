// The code of the function node, run when the flow starts: a notification carries the whole event, and its topic is made of what is in it.
const pg = global.get('pg');
const client = new pg.Client({ connectionString: global.get('database') });
client.on('error', (error) => node.error(error));
client.on('notification', (notification) => {
    const event = JSON.parse(notification.payload);
    const topic = `plant/${event.context.cell}/${event.entity.id}/${event.type.replaceAll('.', '/')}`;
    // The message is nobody else's, so that it need not be cloned.
    node.send({ topic, payload: notification.payload }, false);
});
await client.connect();
await client.query('listen reports');
