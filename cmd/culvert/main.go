// Command culvert opens local ports and carries their connections through an SSH server, and it
// understands FTP: any FTP client on this machine works through the tunnel. See culvert(1).
package main

import "os"

// version is set by the linker (see Makefile).
var version = "unknown"

func main() {
	c := &call{args: os.Args[1:], stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, out: &printer{w: os.Stderr}}
	os.Exit(c.main())
}
