// @portal-hq/core in plain Node.js, as it comes from npm. It is made for React Native; what Node.js lacks of that stands here:
//   - XMLHttpRequest, in which it asks: that of xmlhttprequest-ssl, which asks through node:http;
//   - react-native: one that has no native modules, so that the SDK can't make or use key shares;
//   - react-native-keychain: nothing, since no shares are kept.
// Whoever makes a Portal needs its feature flag useEnclaveMPCApi: the signer that does without a native module.
const Module = require("node:module");

const stubs = {
  "react-native": {
    NativeModules: {},
    Platform: { select: (choices) => choices.default },
    TurboModuleRegistry: {
      get: () => null,
      getEnforcing(name) { throw new Error(`there is no native module ${name} in Node.js`); },
    },
  },
  "react-native-keychain": {},
};

const load = Module._load;
Module._load = function (name, ...others) {
  return Object.hasOwn(stubs, name) ? stubs[name] : load.call(this, name, ...others);
};

globalThis.XMLHttpRequest = require("xmlhttprequest-ssl");
module.exports = require("@portal-hq/core");
