// Command culvert opens local ports and carries their connections through an SSH server, and it
// understands FTP: any FTP client on this machine works through the tunnel. See culvert(1).
package main

import "os"

// version is set by the linker (see Makefile).
var version = "unknown"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}
