// Works for the API: one request at a time. Asked to end, it takes no more and does what it has.
const { setTimeout: pause } = require('timers/promises');
const { connected, answer } = require('./broker');

let work = Promise.resolve(), channel, tag;

const stop = connected(async fresh => {
  channel = fresh;
  await channel.prefetch(1);
  ({ consumerTag: tag } = await channel.consume('branch', request => {
    if (request) work = serve(fresh, request);
  }));
  process.send?.('ready');
}, 1000);

async function serve(channel, request) {
  await pause(50); // a database would be asked here
  const { branch } = JSON.parse(request.content);
  answer(channel, request, 200, { branch, by: `worker ${process.env.NODE_APP_INSTANCE}` });
}

process.on('SIGINT', async () => {
  await channel?.cancel(tag).catch(() => {}); // there is none without the broker
  await work;
  await channel?.waitForConfirms().catch(() => {});
  await stop();
  process.exit();
});
