//! Downloads what a model needs and the cache lacks.

use std::collections::BTreeMap;

use crate::cache::Snapshot;
use crate::download::Download;
use crate::environment::Hub;
use crate::error::HubError;
use crate::files::{CONFIG, INDEX, companions_of, shards, weights};
use crate::names::Name;
use crate::progress::Observer;
use crate::remote::{Entry, Listing, Remote};

/// Brings a model into the cache.
///
/// # Errors
/// If the hub has no such model or none that can be used, or a download fails.
pub fn fetch(hub: &Hub, name: &Name, observer: &mut Observer<'_>) -> Result<Snapshot, HubError> {
    let remote = remote(hub, name)?;
    let listing = remote.listing(name)?;
    let snapshot = Snapshot::new(hub.cache.folder(&name.repository), &listing.commit);
    let wanted = match &name.file {
        Some(file) => vec![file.as_str()],
        None => beside(&listing, name)?,
    };
    let mut download = Download {
        remote: &remote,
        cache: &hub.cache,
        snapshot: &snapshot,
        name,
        observer,
        total: 0,
        done: 0,
    };
    files(&mut download, &listing, &wanted)?;
    if name.file.is_none() {
        let has = |file: &str| listing.files.contains_key(file);
        for file in companions_of(has).filter(|file| !has(file)) {
            snapshot.set_absent(file)?;
        }
        // The weights come last: whoever finds them finds the rest.
        let weights = weight_files(&listing, &snapshot, name)?;
        let weights: Vec<&str> = weights.iter().map(String::as_str).collect();
        files(&mut download, &listing, &weights)?;
    }
    snapshot.set_reference(&name.revision)?;
    Ok(snapshot)
}

fn remote(hub: &Hub, name: &Name) -> Result<Remote, HubError> {
    let certificates = match &hub.certificates {
        Some(path) => Some(std::fs::read(path).map_err(HubError::io(path))?),
        None => None,
    };
    let remote = Remote::new(&hub.endpoint, hub.token.clone(), certificates.as_deref());
    remote.map_err(|reason| HubError::Unusable {
        name: name.repository.clone(),
        reason: format!("SSL_CERT_FILE has no usable certificates: {reason}"),
    })
}

/// The files beside the weights, and the list of the weights' files where there is one.
fn beside<'l>(listing: &'l Listing, name: &Name) -> Result<Vec<&'l str>, HubError> {
    let has = |file: &str| listing.files.contains_key(file);
    let unusable = |reason: String| HubError::Unusable {
        name: name.repository.clone(),
        reason,
    };
    let weights = weights(has).ok_or_else(|| {
        let other = ["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"];
        unusable(match other.into_iter().find(|file| has(file)) {
            Some(other) => format!(
                "its weights are in `{other}`, which Crosslatch does not read; make a model of it \
                 with `crosslatch-export {} OUT.pt2`",
                name.repository
            ),
            None => {
                "it holds no model that Crosslatch reads: neither `model.safetensors` nor, for \
                     faster-whisper, `model.bin`; one file of a repository is named \
                     `owner/name/file`"
                    .to_owned()
            }
        })
    })?;
    if !has(CONFIG) {
        return Err(unusable(format!("it has no `{CONFIG}`")));
    }
    let is_wanted = |file: &&str| {
        companions_of(has).any(|used| used == *file) || (*file == INDEX && weights == INDEX)
    };
    let files = listing.files.keys().map(String::as_str);
    Ok(files.filter(is_wanted).collect())
}

/// The files with the weights.
fn weight_files(
    listing: &Listing,
    snapshot: &Snapshot,
    name: &Name,
) -> Result<Vec<String>, HubError> {
    match weights(|file| listing.files.contains_key(file)) {
        Some(INDEX) => {
            let path = snapshot.path().join(INDEX);
            let index = std::fs::read(&path).map_err(HubError::io(&path))?;
            let shards = shards(&index).map_err(|reason| HubError::Unusable {
                name: name.repository.clone(),
                reason: format!("{INDEX}: {reason}"),
            })?;
            Ok(shards.into_iter().collect())
        }
        weights => Ok(weights.map(str::to_owned).into_iter().collect()),
    }
}

/// Downloads these files.
fn files(download: &mut Download<'_>, listing: &Listing, names: &[&str]) -> Result<(), HubError> {
    let mut entries: BTreeMap<&str, &Entry> = BTreeMap::new();
    for name in names {
        let entry = listing.files.get(*name).ok_or_else(|| HubError::Unusable {
            name: download.name.repository.clone(),
            reason: format!("the repository has no file `{name}`"),
        })?;
        entries.insert(name, entry);
        download.total = download.total.saturating_add(entry.size);
    }
    for (name, entry) in entries {
        download.file(name, entry)?;
    }
    Ok(())
}
