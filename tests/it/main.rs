//! One binary for all integration tests, so that it links once.

#[cfg(feature = "cli")]
#[cfg(test)]
mod cli;
#[cfg(feature = "cli")]
#[cfg(test)]
mod clinic;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod environment;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod found;
#[cfg(test)]
mod garbage;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod huge;
#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod load;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod story;
#[cfg(test)]
mod telling;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod together;
#[cfg(test)]
mod unreadable;
#[cfg(test)]
mod whole;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod world;
