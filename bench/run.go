package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// measure makes the measurements that were asked for. What can't be run is left out, and said in the error.
func measure(ctx context.Context, o options) (report, error) {
	measured := report{Machine: machine(ctx)}
	folder, err := makeFiles(o)
	defer os.RemoveAll(folder)
	if err != nil {
		return measured, fmt.Errorf("make files to fetch: %w", err)
	}
	byPlace := map[place][]measurement{}
	for _, m := range measurements(o) {
		if o.wants(m.id) {
			byPlace[m.at] = append(byPlace[m.at], m)
		}
	}
	if len(byPlace) == 0 {
		return measured, fmt.Errorf("no measurement is called %q", o.rows)
	}
	b := &bench{o: o, files: folder, measured: &measured}
	for _, at := range []place{loopback, far, farther, fresh} {
		if len(byPlace[at]) > 0 && ctx.Err() == nil {
			b.measureAt(ctx, at, byPlace[at])
		}
	}
	return measured, errors.Join(append(b.failed, ctx.Err())...)
}

// bench is one run.
type bench struct {
	o        options
	files    string // the folder that FTP servers serve
	measured *report
	failed   []error
}

// measureAt makes all measurements of one place.
func (b *bench) measureAt(ctx context.Context, at place, all []measurement) {
	if at == fresh {
		for _, m := range all {
			who := m.among(absent(), b.o)
			grown := b.fillAll(ctx, m, who)
			b.keep(m, 1, who, func(c *contender, row int) []float64 {
				if v := grown[c.name]; v != nil {
					return v[row : row+1]
				}
				return nil
			})
		}
		return
	}
	s, in, err := b.stage(ctx, at, specs())
	if err != nil {
		b.failed = append(b.failed, fmt.Errorf("%s: %w", at.name, err))
		return
	}
	for _, m := range all {
		b.interleave(ctx, m, in, func(c *contender) ([]float64, error) { return m.run(ctx, s, c) })
	}
	if err := s.Close(); err != nil {
		b.failed = append(b.failed, fmt.Errorf("%s: %w", at.name, err))
	}
}

// stage starts the servers of a place, and contenders there. The caller must close the scene.
func (b *bench) stage(ctx context.Context, at place, specs []spec) (*scene, []*contender, error) {
	s, err := newScene(b.o, at.rtt, b.files)
	if err != nil {
		return nil, nil, err
	}
	in, err := s.enter(ctx, specs)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return s, in, nil
}

// among are those contenders that take part, if they were asked for.
func (m measurement) among(all []*contender, o options) (who []*contender) {
	for _, c := range all {
		if (m.who == nil || m.who(c)) && (o.only == nil || c.name == base || slices.Contains(o.only, c.name)) {
			who = append(who, c)
		}
	}
	return who
}

// interleave makes a measurement with each contender that takes part in each round, another one first each time, and keeps and prints what came out.
// Who fails is out of it.
func (b *bench) interleave(ctx context.Context, m measurement, all []*contender, run func(c *contender) ([]float64, error)) {
	begin := time.Now()
	who := m.among(all, b.o)
	rounds := b.o.rounds
	if m.rounds > 0 {
		rounds = min(rounds, m.rounds)
	}
	values := make(map[*contender][][]float64) // by round, by row
	for round := range rounds {
		for i := range who {
			c := who[(i+round)%len(who)]
			if len(values[c]) < round || ctx.Err() != nil {
				continue // it has failed
			}
			v, err := run(c)
			if err != nil {
				b.failed = append(b.failed, fmt.Errorf("%s, %s: %w", m.id, c.name, err))
				delete(values, c)
				continue
			}
			values[c] = append(values[c], v)
		}
	}
	b.keep(m, rounds, who, func(c *contender, row int) []float64 { return column(values[c], row) })
	fmt.Printf("%s took %v\n\n", m.id, time.Since(begin).Round(time.Second))
}

// keep keeps and prints what was measured, of those who took part in each round.
func (b *bench) keep(m measurement, rounds int, who []*contender, values func(c *contender, row int) []float64) {
	for r, row := range m.rows {
		result := result{row: row, Measurement: m.id}
		var first []float64
		for _, c := range who {
			v := values(c, r)
			if len(v) != rounds {
				continue
			}
			if c.name == base {
				first = v
			}
			result.Cells = append(result.Cells, row.cell(c.name, v, first))
		}
		result.print(os.Stdout)
		b.measured.add(result)
	}
}

// column is what was measured of one row, by round.
func column(values [][]float64, row int) []float64 {
	var v []float64
	for _, all := range values {
		v = append(v, all[row])
	}
	return v
}
