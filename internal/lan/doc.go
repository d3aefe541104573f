// Package lan puts a test among several machines: network namespaces of its own, joined by cables (veth pairs) and by lines that
// are long, slow or lose packets (two TUN devices, and a program between them that holds each packet), with addresses that nobody else has. Programs of
// ours and of others run on them as on machines, except that they share the file system.
//
// A test calls [Apart], [NewMachine], and [Cable] or [Line]; a program, [Start], [NewNamespace] and [Stretch]; a person,
// "go run ./bench line 50ms COMMAND".
//
// It needs Linux, and either root or namespaces for users. It runs no FTP and no SSH; packages peers and stage do.
package lan
