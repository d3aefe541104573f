// Package sshconfig is the language of ssh_config(5): the grammar of its lines, which is that of sshd_config(5) too, the kinds of values in
// them, and how files come to an answer about one host. It doesn't know what a keyword means, but for those that decide how files are read: each package has a
// [Table] of its own.
package sshconfig
