// Package standing keeps the tunnels of one person open, in one process: it brings them up and takes them down, and tells how they
// are, as it is told over a socket that nobody else can use. It reads no configuration and prints nothing; what a tunnel is, package
// client knows.
//
// A [Place] is where the process is to be found: one at a time, as a lock says. [Serve] is the process, [Place.Call] asks it something. What is said
// between them is a line of JSON each: a request, then what the person should see or is asked, and the answers, and at the end what has come of it.
package standing
