//! Builds all integration tests into one binary, so that it links only once.

#[cfg(test)]
mod access_log;
#[cfg(feature = "cli")]
#[cfg(test)]
mod cli;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod enumeration;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod support;
#[cfg(test)]
mod wire;
