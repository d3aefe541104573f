// Package mux asks a running ControlMaster of OpenSSH for what it does for other ssh processes (PROTOCOL.mux in OpenSSH's
// source): connections through its SSH connection, and ports that its SSH server listens on. It can start an ssh for that. It
// doesn't know what is carried.
//
// It uses what ssh -W and ssh -O forward use, and not proxy mode (docs/adr/0024-master.md): a master that has refused one
// channel in proxy mode ends, with everybody's sessions, when the program that asked for it goes.
package mux
