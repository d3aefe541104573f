// Package ftp is one FTP control connection as a state machine: bytes from either side
// go in, effects come out. It does no I/O, has no clock, starts no goroutine and
// takes no decision that belongs to a policy; its drivers own sockets, listeners,
// time and permission.
//
// The state machine follows RFC 959, 1123, 2228, 2389, 2428 and 3659.
package ftp
