// Says what api says. Where that is it asks Consul's DNS, for each request anew.
const Koa = require('koa');
const { Resolver } = require('dns').promises;

const dns = new Resolver({ timeout: 1000, tries: 3 });
dns.setServers([process.env.CONSUL_DNS]);

async function find(service) {
  const [{ name, port }] = await dns.resolveSrv(`${service}.service.consul`); // of those that pass their checks
  const [address] = await dns.resolve4(name);
  return `http://${address}:${port}`;
}

const app = new Koa();
app.use(async (ctx) => {
  console.log('send response');
  try {
    ctx.body = await (await fetch(await find('api'))).text();
  } catch (err) {
    console.error(err.message);
    ctx.status = 503;
    ctx.body = err.message + '\n';
  }
});
console.error('fake error');
app.listen(process.env.PORT, process.env.HOST || '127.0.0.1');
