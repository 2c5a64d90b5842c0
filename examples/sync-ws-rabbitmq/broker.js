// What the programs have in common: the broker's parts, and a connection that comes back.
const amqp = require('amqplib');

const url = process.env.AMQP_URL || 'amqp://127.0.0.1:18261';

const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

// connected calls use(channel) with a new channel after each connect, until stop() is called.
// A channel that is closed takes its connection with it: everything begins anew. When the broker
// was lost, workers stand back a second, until the API's queues for their replies are there again.
exports.connected = (use, standBack = 0) => {
  let connection, stopped = false, again = false;
  const once = async () => {
    connection = await amqp.connect(url, { heartbeat: 5, timeout: 5000 });
    connection.on('error', err => console.error(`broker: ${err.message}`));
    const closed = new Promise(resolve => connection.on('close', resolve));
    try {
      const channel = await connection.createConfirmChannel();
      channel.on('error', err => console.error(`broker: ${err.message}`));
      channel.on('close', () => connection.close().catch(() => {}));
      await declare(channel);
      if (again) await pause(standBack);
      again = true;
      await use(channel);
    } catch (err) {
      connection.close().catch(() => {});
      throw err;
    } finally {
      await closed;
    }
  };
  (async () => {
    while (!stopped) {
      await once().catch(err => console.error(`broker: ${err.message || err}`));
      if (!stopped) await pause(300);
    }
  })();
  return async () => { stopped = true; await connection?.close().catch(() => {}); };
};

// declare: requests wait in durable queues behind a direct exchange, one for each kind of work.
async function declare(channel) {
  await channel.assertExchange('syncws', 'direct', { durable: true });
  for (const kind of ['branch', 'report']) {
    await channel.assertQueue(kind, { durable: true });
    await channel.bindQueue(kind, 'syncws', kind);
  }
}

// answer sends a reply to whom the request came from, and lets the request go only when the broker
// has it. If the connection is lost before, the broker gives the request to another worker.
exports.answer = (channel, request, status, body) => {
  const { replyTo, correlationId } = request.properties;
  try {
    channel.publish('', replyTo, Buffer.from(JSON.stringify(body)), { correlationId, headers: { status } },
      err => { if (!err) channel.ack(request); });
  } catch (err) {
    console.error(`broker: no answer to ${correlationId}: ${err.message}`);
  }
};
