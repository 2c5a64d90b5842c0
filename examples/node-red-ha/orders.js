// Publishes orders, counts their results, and says how it stands: by HTTP, and in its log. An order
// without a result is published again after ten seconds.
const http = require('http');
const mqtt = require('mqtt');

const client = mqtt.connect('mqtt://127.0.0.1:18210', { protocolVersion: 5, clientId: 'orders' });
const open = new Map(); // orders without a result, by number
const count = { published: 0, done: 0, repeated: 0, twice: 0, slowest: 0, by: {} };

function publish(n) {
  client.publish('orders', JSON.stringify({ n }), { qos: 1 });
}

client.on('message', (topic, payload) => {
  const { n, by } = JSON.parse(payload);
  if (!open.has(n)) return count.twice++;
  count.slowest = Math.max(count.slowest, Date.now() - open.get(n).begun);
  count.by[by] = (count.by[by] || 0) + 1;
  count.done++;
  open.delete(n);
});

client.subscribe('results', { qos: 1 }, () => {
  setInterval(() => {
    open.set(++count.published, { begun: Date.now(), published: Date.now() });
    publish(count.published);
  }, 1000 / (process.env.RATE || 50));
});

setInterval(() => {
  for (const [n, order] of open) {
    if (Date.now() - order.published < 10000) continue;
    order.published = Date.now();
    publish(n);
    count.repeated++;
  }
  console.log(JSON.stringify(count));
}, 1000);

// The oldest order that has no result says up to where none is missing.
http.createServer((req, res) => {
  const [oldest] = open.keys();
  res.end(JSON.stringify({ ...count, complete: (oldest ?? count.published + 1) - 1 }) + '\n');
}).listen(process.env.PORT, '127.0.0.1');
