//! What the configuration says about destinations: the settings of rows that have none of their own, and what every row is read with.

use std::path::PathBuf;

use crate::egress::Egress;
use crate::sealing::Keys;
use crate::settings::MqttSettings;
use crate::settings::WebhookSettings;

/// Settings for rows that have none of their own.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    /// For publishers.
    pub mqtt: MqttSettings,
    /// For webhooks.
    pub webhook: WebhookSettings,
    /// The directory of the certificates and keys that rows may name.
    pub certificates: Option<PathBuf>,
    /// What all of them may reach.
    pub egress: Egress,
    /// What opens the sealed secrets of rows.
    pub keys: Keys,
}
