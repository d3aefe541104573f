// Package lan puts a test among several machines: network namespaces of its own, joined by cables (veth pairs), with
// addresses that nobody else has. Programs of ours and of others run on them as on machines, except that they
// share the file system.
//
// It needs Linux, and either root or namespaces for users. It runs no FTP and no SSH; packages peers and stage do.
package lan
