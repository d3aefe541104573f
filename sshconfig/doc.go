// Package sshconfig is the language of ssh_config(5): the grammar of its lines and the kinds of values in
// them. It doesn't know what a keyword means: each package has a [Table] of its own.
package sshconfig
