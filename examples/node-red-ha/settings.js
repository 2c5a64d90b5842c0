// The settings of all instances of Node-RED here. gopm says in the environment which one this is.
const path = require('path');
const { name, PORT, NODE_APP_INSTANCE } = process.env;

// By these the flows say who they are. A session at the broker is the place's (pool-0), so that a successor
// goes on with it; all other connections are this one process's.
process.env.PLACE = `${name}-${NODE_APP_INSTANCE}`;
process.env.WHO = `${name}-${NODE_APP_INSTANCE}-${process.pid}`;

// What a first connection to the broker loads is half of a promotion. A spare has it loaded before.
require('mqtt').connect({ protocol: 'mqtt', manualConnect: true });
require('mqtt-packet').generate({ cmd: 'pingreq' });

module.exports = {
  uiHost: '127.0.0.1',
  uiPort: PORT,
  // Node-RED writes into its userDir, so each instance has one of its own. The flows are one file for all.
  userDir: path.join(__dirname, 'data', process.env.PLACE),
  flowFile: path.join(__dirname, 'flows', `${name}.json`),
  flowFilePretty: true,
  credentialSecret: 'of your own, the same for all instances',
  // gopm starts and stops the flows by this.
  runtimeState: { enabled: true, ui: true },
  // Longer than an old instance lives on when a new one has taken its session over.
  mqttReconnectTime: 15000,
};
