// Command bench measures culvert and culvertd side by side with OpenSSH on the same work, in
// one run, interleaved, and prints medians and ratios. It judges nothing and fails only if
// something can't be run.
//
// "bench line RTT COMMAND" runs a command on one of two machines that are a round trip of RTT away from each other: two network namespaces,
// joined by [lan.Stretch]. This one is NEAR_ADDR, the other one FAR_ADDR, and what stands behind $FAR runs there:
//
//	go run ./bench line 50ms sh -c '$FAR bin/culvertd -f … & bin/culvert -L … user@$FAR_ADDR & curl …'
//
// Nothing of it is left when the command ends. Tests have the same by [lan.Line].
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
	"text/tabwriter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "line" {
		exit(runLine(ctx, os.Args[2:]))
	}
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "the `folder` with culvertd and culvert")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each measurement is made")
	flag.Int64Var(&o.bulk, "bulk", 1<<30, "`bytes` of a bulk transfer")
	flag.IntVar(&o.opens, "opens", 500, "channels opened one after another")
	flag.IntVar(&o.files, "files", 1000, "small files fetched by FTP")
	flag.Parse()
	exit(run(ctx, o))
}

// exit ends the program, with the status of the program that did the work if there was another one.
func exit(err error) {
	var ended *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &ended) && ended.ExitCode() > 0:
		os.Exit(ended.ExitCode())
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

type options struct {
	bin    string
	rounds int
	bulk   int64
	opens  int
	files  int
}

// measurement is some work, and what is measured at it.
type measurement struct {
	rows []row
	run  func(ctx context.Context, c *contender) ([]float64, error) // a value for each row
	who  func(c *contender) bool                                    // takes part; if nil, all do
}

// row is one thing that is measured.
type row struct {
	name       string
	unit       string
	lessBetter bool
}

func run(ctx context.Context, o options) error {
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	o.bin = bin
	w, err := newWork(o)
	if err != nil {
		return err
	}
	defer w.close()
	all, closeAll, err := contenders(ctx, o.bin, w)
	if err != nil {
		return err
	}
	defer closeAll()

	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	for _, m := range w.measurements() {
		var who []*contender
		for _, c := range all {
			if m.who == nil || m.who(c) {
				who = append(who, c)
			}
		}
		values := make([][][]float64, len(m.rows)) // by row, by contender, by round
		for r := range values {
			values[r] = make([][]float64, len(who))
		}
		for round := range o.rounds {
			for i := range who { // another one begins each time
				at := (i + round) % len(who)
				v, err := m.run(ctx, who[at])
				if err != nil {
					return fmt.Errorf("%s, %s: %w", m.rows[0].name, who[at].name, err)
				}
				for r := range v {
					values[r][at] = append(values[r][at], v[r])
				}
			}
		}
		for r, row := range m.rows {
			row.print(out, who, values[r])
		}
	}
	return nil
}

// print prints medians, spread, and ratios to the first contender.
func (r row) print(out *tabwriter.Writer, who []*contender, values [][]float64) {
	fmt.Fprintf(out, "%s (%s)\tmedian\tfrom\tto\t× %s\t\n", r.name, r.unit, who[0].name)
	for i, c := range who {
		v := values[i]
		slices.Sort(v)
		fmt.Fprintf(out, "  %s\t%.4g\t%.4g\t%.4g\t%.2f\t\n", c.name, median(v), v[0], v[len(v)-1], r.ratio(median(v), median(values[0])))
	}
	fmt.Fprintln(out)
	_ = out.Flush() // to standard output; whoever closed it wants no more
}

// ratio is above 1 where v is better than the base.
func (r row) ratio(v, base float64) float64 {
	if r.lessBetter {
		return base / v
	}
	return v / base
}

// median of sorted values.
func median(v []float64) float64 {
	if len(v)%2 == 1 {
		return v[len(v)/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}
