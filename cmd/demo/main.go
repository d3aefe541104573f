// Command demo shows culvert's main job for real: an FTP client downloads and uploads through
// culvert and culvertd, two processes of the binaries that make build made, from an
// embedded FTP server.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	bin := flag.String("bin", "bin", "the `folder` with culvertd and culvert")
	hold := flag.Bool("hold", false, "leave everything running and say what to type")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bin, *hold); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}
