//! One binary for all integration tests, so that it links once.

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod world;
