// Answers with its configuration, which comes from Consul: see ecosystem.json.
const Koa = require('koa');

const { GREETING, NODE_APP_INSTANCE, PORT } = process.env;

const app = new Koa();
app.use((ctx) => {
  ctx.body = JSON.stringify({ greeting: GREETING, instance: Number(NODE_APP_INSTANCE), pid: process.pid }) + '\n';
});
app.listen(PORT, '127.0.0.1');
