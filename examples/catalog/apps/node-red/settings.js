// Node-RED's settings: bound to loopback, one administrator whose password is new with each deploy.
const bcrypt = require("bcryptjs");

module.exports = {
  uiHost: "127.0.0.1",
  uiPort: Number(process.env.PORT),
  flowFile: "flows.json",
  credentialSecret: process.env.ADMIN_PASSWORD,
  telemetry: { enabled: false },
  adminAuth: {
    type: "credentials",
    users: [{ username: "admin", password: bcrypt.hashSync(process.env.ADMIN_PASSWORD, 8), permissions: "*" }],
  },
  logging: { console: { level: "info", metrics: false, audit: false } },
};
