// Command culvertd is an SSH bastion that carries FTP. See culvertd(8).
package main

import "os"

// version is set by the linker (see Makefile).
var version = "unknown"

func main() {
	os.Exit(run(os.Args[1:], program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}))
}
