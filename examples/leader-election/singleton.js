// gopm elects: it has the lock, and writes into a file `leader 17`, where 17 is the fence, or `standby`. A signal says that this has changed.
const fs = require('fs');

module.exports = (me, lead) => {
  const look = () => {
    const [role, fence] = fs.readFileSync(process.env.GOPM_ROLE_FILE, 'utf8').split(' ');
    lead(role === 'leader' ? Number(fence) : 0);
  };
  process.on('SIGUSR2', look);
  look();
};
