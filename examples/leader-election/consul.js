// What the peers know of each other: the count, which is a key of Consul, and who is there.
const { CONSUL, KEY, name } = process.env;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// With the index of the last answer Consul waits until it has a newer one, for 30 s at most.
async function get(path, index) {
  const answer = await fetch(`${CONSUL}/v1/${path}index=${index}&wait=30s`);
  if (!answer.ok && answer.status !== 404) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return { index: answer.headers.get('X-Consul-Index'), value: answer.ok ? await answer.json() : [] };
}

async function follow(path, changed) {
  for (let index = 0; ; ) {
    try {
      const answer = await get(path, index);
      await changed(answer.value);
      index = answer.index;
    } catch (err) {
      console.error(err.message);
      index = 0;
      await pause(500);
    }
  }
}

const record = ([pair]) => ({ count: 0, leader: '', term: 0, ...(pair && JSON.parse(Buffer.from(pair.Value, 'base64'))), index: pair ? pair.ModifyIndex : 0 });

exports.pause = pause;
exports.read = async () => record((await get(`kv/${KEY}?`, 0)).value);
exports.watch = (changed) => follow(`kv/${KEY}?`, (value) => changed(record(value)));
exports.present = (changed) => follow(`health/service/${name}?passing&`, (all) => changed(all.map((e) => e.Service.ID).sort()));

// Of two who have read the same only one is heard: false for the other.
exports.write = async ({ count, leader, term }, index) => {
  const answer = await fetch(`${CONSUL}/v1/kv/${KEY}?cas=${index}`, { method: 'PUT', body: JSON.stringify({ count, leader, term }) });
  return (await answer.text()).trim() === 'true';
};
