// How Node-RED runs here: no editor, no HTTP at all (so that it listens nowhere), nothing that calls home.
module.exports = {
    flowFile: 'flows.json',
    credentialSecret: false,
    httpAdminRoot: false,
    httpNodeRoot: false,
    disableEditor: true,
    telemetry: { enabled: false, updateNotification: false },
    functionExternalModules: false,
    externalModules: { palette: { allowInstall: false }, modules: { allowInstall: false } },
    // The modules of the bench, which a function node may take.
    functionGlobalContext: { pg: require('pg'), database: process.env.DATABASE_URL },
    logging: { console: { level: 'warn', metrics: false, audit: false } },
};
