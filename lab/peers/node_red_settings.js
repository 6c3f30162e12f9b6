// Node-RED runs here without its editor, without HTTP (so that it listens on no port), and without telemetry.
module.exports = {
    flowFile: 'flows.json',
    credentialSecret: false,
    httpAdminRoot: false,
    httpNodeRoot: false,
    disableEditor: true,
    telemetry: { enabled: false, updateNotification: false },
    functionExternalModules: false,
    externalModules: { palette: { allowInstall: false }, modules: { allowInstall: false } },
    // A function node may use these modules.
    functionGlobalContext: { pg: require('pg'), database: process.env.DATABASE_URL },
    logging: { console: { level: 'warn', metrics: false, audit: false } },
};
