var Koa = require('koa');
const app = new Koa();

app.use(ctx => {
  console.log('send response');
  ctx.body = 'Hello Koa@2';
});
console.error('fake error');
app.listen(3000);
