// Package client is culvert's own side of the tunnel: the local listeners whose connections it carries,
// and for FTP the listeners of the data connections. It does not make the SSH connection (package login does) nor
// understand FTP itself (package ftp does), it parses no command line, and it prints
// nothing: what a person should see or be asked goes through functions of [Config].
//
// A forward is served in this order: [Run] connects and authenticates, listens, says what is
// ready; each accepted connection then gets a channel of its own ([Transport]) and is
// relayed until both directions have ended. Whatever goes wrong after an accept reaches the local
// program as a reset, never as an end of data.
package client
