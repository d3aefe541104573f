// Command culvert opens local ports and carries their connections through an SSH server, and it
// understands FTP: any FTP client on this machine works through the tunnel. See culvert(1).
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stderr))
}
