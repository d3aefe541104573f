// Package login makes one SSH connection to a bastion: where it is, by way of which jump hosts or of what command,
// whether it is the right one, and as whom. It doesn't know what the connection is for, it parses no command line, and it
// prints nothing: what a person should see or be asked goes through functions of [Config].
package login
