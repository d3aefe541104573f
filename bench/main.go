// Command bench measures culvert and culvertd side by side with OpenSSH on the same work, in
// one run, interleaved, and prints medians, spread and ratios. It judges nothing and fails only if
// something can't be run; with -check it compares the ratios with those of an earlier run.
//
// Everything happens in a network of its own: on its loopback interface, and over lines that are as long as said.
//
// "bench line RTT COMMAND" runs a command on one of two machines that are a round trip of RTT away from each other: two network namespaces,
// joined by [lan.Stretch]. This one is NEAR_ADDR, the other one FAR_ADDR, and what stands behind $FAR runs there:
//
//	go run ./bench line 50ms sh -c '$FAR bin/culvertd -f … & bin/culvert -L … user@$FAR_ADDR & curl …'
//
// Nothing of it is left when the command ends. Tests have the same by [lan.Line]. Lines that lose packets, are slow, or have a bad path: "bench line" without more
// says how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "line" {
		exit(runLine(ctx, os.Args[2:]))
	}
	o := flags()
	switch {
	case o.render:
		exit(render(o.docs))
	case os.Getenv(apart) == "":
		exit(again())
	}
	exit(run(ctx, o))
}

// exit ends the program, with the status of the program that did the work if there was another one.
func exit(err error) {
	if err == nil {
		os.Exit(0)
	}
	if ended, ok := err.(*exec.ExitError); ok && ended.ExitCode() > 0 { // not one of those that it has run
		os.Exit(ended.ExitCode())
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

type options struct {
	bin    string
	rows   []string
	only   []string // contenders
	rounds int
	docs   string // the folder that is written to, if not ""
	check  bool
	render bool

	bulk, file, farBulk, farFile, traffic                                          int64
	opens, streams, pings, logins, files, farFiles, connections, channels, stalled int
}

func flags() (o options) {
	flag.StringVar(&o.bin, "bin", "bin", "the `folder` with culvertd and culvert")
	flag.Func("rows", "measure only these, by `id` and comma; an id ending in * stands for all that begin so (see the table for the ids)", func(s string) error {
		o.rows = append(o.rows, strings.Split(s, ",")...)
		return nil
	})
	flag.Func("contenders", "measure only these, besides "+base+": names as in the tables, with a semicolon between", func(s string) error {
		o.only = append(o.only, strings.Split(s, ";")...)
		return nil
	})
	flag.IntVar(&o.rounds, "rounds", 5, "how often each measurement is made at most")
	flag.StringVar(&o.docs, "docs", "", "write what was measured into this `folder`: performance/ratios.json, the plots beside it, and the tables in performance.md")
	flag.BoolVar(&o.check, "check", false, "compare the ratios with docs/performance/ratios.json, and fail if some are worse beyond the noise")
	flag.BoolVar(&o.render, "render", false, "measure nothing: draw what stands in the ratios.json of -docs again")

	flag.Int64Var(&o.bulk, "bulk", 1<<29, "`bytes` of a bulk transfer")
	flag.Int64Var(&o.file, "file", 1<<30, "`bytes` of the big FTP file")
	flag.Int64Var(&o.farBulk, "far-bulk", 1<<27, "`bytes` of a bulk transfer over 50 ms; half of it over 200")
	flag.Int64Var(&o.farFile, "far-file", 1<<28, "`bytes` of the big FTP file over 50 ms")
	flag.Int64Var(&o.traffic, "traffic", 4<<20, "`bytes` through a channel that is idle after that")
	flag.IntVar(&o.opens, "opens", 1000, "channels opened")
	flag.IntVar(&o.streams, "streams", 4, "downloads at once")
	flag.IntVar(&o.pings, "pings", 500, "bytes there and back beside a bulk stream")
	flag.IntVar(&o.logins, "logins", 200, "logins, eight at once")
	flag.IntVar(&o.files, "files", 1000, "small files fetched by FTP")
	flag.IntVar(&o.farFiles, "far-files", 10, "small files fetched by FTP over a long line")
	flag.IntVar(&o.connections, "connections", 1000, "idle connections")
	flag.IntVar(&o.channels, "channels", 200, "idle channels")
	flag.IntVar(&o.stalled, "stalled", 16, "stalled streams")
	flag.Parse()
	if o.render && o.docs == "" {
		o.docs = "docs"
	}
	return o
}

// wants reports whether a measurement was asked for.
func (o options) wants(id string) bool {
	return o.rows == nil || slices.ContainsFunc(o.rows, func(want string) bool {
		prefix, many := strings.CutSuffix(want, "*")
		return id == want || many && strings.HasPrefix(id, prefix)
	})
}

// ratiosFile is where the ratios are, in the folder of documents.
const ratiosFile = "performance/ratios.json"

func run(ctx context.Context, o options) error {
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	o.bin = bin
	var committed report
	if o.check {
		if committed, err = readReport(filepath.Join("docs", ratiosFile)); err != nil {
			return err
		}
	}
	measured, failed := measure(ctx, o)
	if o.docs != "" {
		failed = errors.Join(failed, document(o.docs, measured))
	}
	if o.check {
		failed = errors.Join(failed, check(ctx, o, committed, measured))
	}
	return failed
}

// check complains of what is worse than it was, if it is so again when it is measured once more.
func check(ctx context.Context, o options, committed, measured report) error {
	worse := committed.worse(measured)
	if len(worse) == 0 {
		fmt.Println("no ratio is worse than the committed one beyond the noise")
		return nil
	}
	fmt.Printf("worse, to be measured once more:\n%s", lines(worse))
	o.rows = nil
	for _, w := range worse {
		o.rows = append(o.rows, w.measurement)
	}
	measured, failed := measure(ctx, o)
	if worse = committed.worse(measured); len(worse) > 0 {
		failed = errors.Join(failed, fmt.Errorf("worse than %s beyond the noise, twice:\n%s", ratiosFile, lines(worse)))
	}
	return failed
}
