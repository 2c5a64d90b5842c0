// The peers elect, as in the document: when one comes or goes each looks for itself who leads, and all come to the same result.
const consul = require('./consul');

module.exports = (me, lead) => {
  let term = 0;
  consul.present(async function ensureLeaderElected(members) {
    for (;;) {
      const old = await consul.read();
      const isMine = old.leader === me; // also if that was the process before this one
      if (isMine ? old.term === term : members.includes(old.leader)) return; // there is a leader already
      if (!isMine && members[0] !== me) return; // another has the lowest id
      // From now on all are refused who have led before.
      const next = { count: old.count, leader: me, term: old.term + 1 };
      if (await consul.write(next, old.index)) {
        term = next.term;
        lead(term);
        return;
      }
    }
  });
};
