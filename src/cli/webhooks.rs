//! `andon webhooks` keeps the signatures of webhooks. In: a webhook's name, or a request as it was received. Out: a new secret, while the one
//! before still signs; its public keys; or why a receiver should refuse the request. A secret is shown once, when it is made.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::anyhow;
use clap::Args;
use clap::Subcommand;
use jiff::Timestamp;

use crate::cli::failure::Failure;
use crate::cli::options::GlobalOptions;
use crate::cli::received_request::ReceivedRequest;
use crate::cli::screen;
use crate::cli::secrets as secret_commands;
use crate::quantity;
use crate::secret::Secret;
use crate::secrets;
use crate::secrets::Owner;
use crate::signature;
use crate::signature::Verifier;
use crate::signature::WebhookSecret;

#[derive(Debug, Subcommand)]
pub(super) enum Webhooks {
    /// Give a webhook a new secret, and let the one before sign too until the overlap is over
    ///
    /// The new secret is printed once, on standard output. Until the overlap is over, each request has the signatures of both; then the
    /// one before ends by itself, by the clock of the database. Only rows of `andon.webhooks` can be rotated.
    RotateSecret(RotateSecret),
    /// Print the public keys (whpk_) by which receivers verify what a webhook's private keys (whsk_) sign
    PublicKey {
        /// The webhook, by its name, its lane or the key of its row
        name: String,
    },
    /// Verify a request on standard input, and say why a receiver should refuse it
    ///
    /// Give it as it was received: the headers, each on its line, then an empty line, then the body, byte by byte. The exit status is 1 if
    /// it is to be refused.
    Verify {
        /// The file with the secret as it stands in secret_key, or with a public key (whpk_)
        #[arg(long, value_name = "FILE")]
        secret_file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct RotateSecret {
    /// The webhook, by its name, its lane or the key of its row
    name: String,

    /// How long the secret before goes on signing, such as 24h
    #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
    overlap: Duration,

    /// Make a private key of Ed25519 and print its public one, with which a receiver can verify and not sign
    #[arg(long)]
    ed25519: bool,
}

/// The longest overlap: a secret that is to end should do so while somebody remembers.
const LONGEST_OVERLAP: Duration = Duration::from_secs(90 * 24 * 60 * 60);

impl Webhooks {
    pub(super) async fn run(self, global: &GlobalOptions) -> Result<ExitCode, Failure> {
        match self {
            Webhooks::RotateSecret(command) => command.run(global).await?,
            Webhooks::PublicKey { name } => public_key(global, &name).await?,
            Webhooks::Verify { secret_file } => return verify(&secret_file),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl RotateSecret {
    async fn run(self, global: &GlobalOptions) -> Result<(), Failure> {
        let name = &self.name;
        if self.overlap > LONGEST_OVERLAP {
            return Err(usage("an overlap is 90 days at most"));
        }
        let config = global.load()?;
        let client = secret_commands::connect(&config).await?;
        let row = secret_commands::one(&client, Owner::Webhook, name).await?;
        secret_commands::held_by_all(&client, &config.keys).await?;
        let old = secrets::signing(&client, &row).await.context("cannot read andon.webhooks")?;
        let old = old.ok_or_else(|| anyhow!("`{name}` has been removed meanwhile"))?;
        if let Some(until) = &old.overlaps_until {
            return Err(Failure::Fault(anyhow!(
                "the secret that `{name}` had before still signs until {until}, as was promised; wait, or end it by setting previous_secret_until of its row to now()"
            )));
        }
        let before = old.secret(&row, &config.keys).map_err(|problem| anyhow!("`{name}`: secret_key {problem}"))?;
        let new = if self.ed25519 { signature::new_private() } else { signature::new_shared() };
        let shown = match self.ed25519 {
            true => public_keys(&new)?.join(" "),
            false => new.clone(),
        };
        let until =
            secrets::rotate(&client, &row, &old, before.as_ref(), &Secret::new(new), self.overlap, &config.keys).await;
        let until = until.context("cannot write andon.webhooks")?;
        let until =
            until.ok_or_else(|| anyhow!("somebody has changed the secret of `{name}` meanwhile; nothing was done"))?;
        screen::say(shown);
        if before.is_some() {
            screen::complain(format_args!("the secret before signs too until {until}"));
        }
        Ok(())
    }
}

async fn public_key(global: &GlobalOptions, name: &str) -> Result<(), Failure> {
    let config = global.load()?;
    let client = secret_commands::connect(&config).await?;
    let row = secret_commands::one(&client, Owner::Webhook, name).await?;
    let stored = secrets::signing(&client, &row).await.context("cannot read andon.webhooks")?;
    let stored = stored.ok_or_else(|| anyhow!("`{name}` has been removed meanwhile"))?;
    let secret = stored.secret(&row, &config.keys).map_err(|problem| anyhow!("`{name}`: secret_key {problem}"))?;
    let keys = public_keys(secret.as_ref().map_or("", Secret::expose))?;
    if keys.is_empty() {
        let message =
            "has no private key (whsk_), so nothing is public; `andon webhooks rotate-secret --ed25519` makes one";
        return Err(Failure::Fault(anyhow!("`{name}` {message}")));
    }
    keys.iter().for_each(screen::say);
    Ok(())
}

fn public_keys(secret: &str) -> anyhow::Result<Vec<String>> {
    Ok(WebhookSecret::parse(secret)?.public_keys())
}

/// The largest request that is read: a body may have 1 GiB by the configuration, which nobody pastes.
const LARGEST_REQUEST: u64 = 64 << 20;

/// No file of secrets is so large, and some files have no end.
const LARGEST_SECRET: u64 = 1 << 20;

fn verify(secret_file: &std::path::Path) -> Result<ExitCode, Failure> {
    let mut text = String::new();
    let read = File::open(secret_file).and_then(|file| file.take(LARGEST_SECRET + 1).read_to_string(&mut text));
    read.map_err(|error| usage(format!("cannot read `{}`: {error}", secret_file.display())))?;
    if text.len() as u64 > LARGEST_SECRET {
        return Err(usage(format!("`{}` has more than 1 MiB, so it is no file of a secret", secret_file.display())));
    }
    // Editors put it there.
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let verifier = Verifier::parse(text);
    let verifier = verifier.map_err(|problem| usage(format!("`{}` {problem}", secret_file.display())))?;
    let mut request = Vec::new();
    std::io::stdin().take(LARGEST_REQUEST + 1).read_to_end(&mut request).context("cannot read the request")?;
    if request.len() as u64 > LARGEST_REQUEST {
        return Err(usage("the request has more than 64 MiB, and no more is read"));
    }
    let request = ReceivedRequest::parse(&request);
    let verified = request.signed().and_then(|signed| verifier.verify(text, &signed, Timestamp::now().as_second()));
    match verified {
        Ok(()) => {
            screen::say("valid");
            Ok(ExitCode::SUCCESS)
        }
        Err(mismatch) => {
            screen::say(format_args!("refuse it: {mismatch}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn usage(message: impl std::fmt::Display) -> Failure {
    Failure::Usage(anyhow!("{message}"))
}
