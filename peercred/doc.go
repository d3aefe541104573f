// Package peercred tells who is at the other end of a Unix socket. What that means is its caller's to decide.
package peercred
