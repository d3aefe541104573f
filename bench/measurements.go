package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// place is what a measurement needs around it. Each has its own servers and contenders, one place after another.
type place struct {
	name string
	rtt  time.Duration
}

var (
	loopback = place{name: "loopback"}
	far      = place{name: "50 ms", rtt: 50 * time.Millisecond}
	farther  = place{name: "200 ms", rtt: 200 * time.Millisecond}
	fresh    = place{name: "started anew"} // everything, for each measurement
)

// measurement is some work, and what is measured at it.
type measurement struct {
	id     string
	at     place
	rows   []row
	rounds int // at most, if not 0: it takes long, or there is little noise in it
	who    func(c *contender) bool
	run    func(ctx context.Context, s *scene, c *contender) ([]float64, error) // a value for each row

	// If everything is started anew, instead of run: it holds what memory is measured of, and returns how many of them there are, in
	// units of the memory.
	fill func(c *contender, hold func(closer)) (float64, error)
}

// row is one thing that is measured.
type row struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Unit       string `json:"unit"`
	LessBetter bool   `json:"less_better,omitempty"`
}

// longRounds are as many as there is time for of what takes long. At the end of a line they are enough: the line, not the processors, decides.
const longRounds = 3

// measurements are all of them, in the order in which they are made.
func measurements(o options) []measurement {
	return slices.Concat(bulkMeasurements(o), openMeasurements(o), ftpMeasurements(o), farMeasurements(o), memoryMeasurements(o))
}

func tunnels(c *contender) bool { return c.forwards() }

// noVariants is for what takes long: without other ways into the same programs.
func noVariants(c *contender) bool { return !c.always && c.name != byMaster }

func tunnelsOnly(c *contender) bool { return c.forwards() && noVariants(c) }

// oneOfEachServer is for what is asked of the server alone, by a client of our own.
func oneOfEachServer(c *contender) bool { return c.name == base || c.name == ours }

func bulkMeasurements(o options) []measurement {
	bulk := func(id, what string, f func(c *contender, size int64) error) measurement {
		return measurement{
			id: id, at: loopback, who: tunnels,
			rows: []row{
				{ID: id, Name: "bulk " + what + ", one stream", Unit: "MB/s"},
				{ID: id + "-cpu-client", Name: "CPU of the client, " + what, Unit: "s/GB", LessBetter: true},
				{ID: id + "-cpu-server", Name: "CPU of the server, " + what, Unit: "s/GB", LessBetter: true},
			},
			run: func(_ context.Context, _ *scene, c *contender) ([]float64, error) {
				return c.rateAndCPU(o.bulk, func() error { return f(c, o.bulk) })
			},
		}
	}
	return []measurement{
		bulk("download", "download", (*contender).download),
		bulk("upload", "upload", (*contender).upload),
		{
			id: "streams", at: loopback, who: tunnelsOnly,
			rows: []row{{ID: "streams", Name: fmt.Sprintf("bulk download, %d streams at once", o.streams), Unit: "MB/s"}},
			run: func(_ context.Context, _ *scene, c *contender) ([]float64, error) {
				rate, err := rateOf(o.bulk, func() error {
					return atOnce(o.streams, func(int) error { return c.download(o.bulk / int64(o.streams)) })
				})
				return []float64{rate}, err
			},
		},
		{
			id: "ping", at: loopback, who: tunnelsOnly,
			rows: []row{
				{ID: "ping-p50", Name: "a byte there and back beside a bulk stream, median", Unit: "ms", LessBetter: true},
				{ID: "ping-p99", Name: "the same, of a hundred the second slowest", Unit: "ms", LessBetter: true},
			},
			run: func(_ context.Context, _ *scene, c *contender) ([]float64, error) { return c.pingBesideBulk(o.pings) },
		},
	}
}

func openMeasurements(o options) []measurement {
	opens := func(id, how string, at int) measurement {
		return measurement{
			id: id, at: loopback, who: tunnels,
			rows: []row{{ID: id, Name: "channel opens, " + how, Unit: "1/s"}},
			run: func(_ context.Context, _ *scene, c *contender) ([]float64, error) {
				begin := time.Now()
				err := shared(o.opens, at, func(int) error { return c.openAndTouch() })
				return []float64{float64(o.opens) / time.Since(begin).Seconds()}, err
			},
		}
	}
	return []measurement{
		opens("opens", "one after another", 1),
		opens("opens16", "16 at once", 16),
		{
			id: "logins", at: loopback, who: oneOfEachServer,
			rows: []row{
				{ID: "logins", Name: "handshakes with login, 8 at once", Unit: "1/s"},
				{ID: "logins-cpu", Name: "CPU of the server for each", Unit: "ms", LessBetter: true},
			},
			run: func(_ context.Context, _ *scene, c *contender) ([]float64, error) { return c.loginMany(o.logins, 8) },
		},
	}
}

func ftpMeasurements(o options) []measurement {
	many := fmt.Sprintf("%d FTP files of %d KiB", o.files, smallFile>>10)
	seconds := func(id, name string, rounds int, who func(*contender) bool, f func(ctx context.Context, s *scene, c *contender) (time.Duration, error)) measurement {
		return measurement{
			id: id, at: loopback, who: who, rounds: rounds,
			rows: []row{{ID: id, Name: name, Unit: "s", LessBetter: true}},
			run: func(ctx context.Context, s *scene, c *contender) ([]float64, error) {
				took, err := f(ctx, s, c)
				return []float64{took.Seconds()}, err
			},
		}
	}
	bySOCKS := func(c *contender) bool { return c.socks.IsValid() }
	return []measurement{
		seconds("files", many, 0, nil, func(ctx context.Context, s *scene, c *contender) (time.Duration, error) {
			return s.fetchMany(ctx, c, o.files)
		}),
		seconds("files-socks", many+", curl by SOCKS", longRounds, bySOCKS, func(ctx context.Context, s *scene, c *contender) (time.Duration, error) {
			return s.curlMany(ctx, c, o.files)
		}),
		seconds("file", fmt.Sprintf("one FTP file of %d MiB, curl", o.file>>20), longRounds, noVariants, func(ctx context.Context, s *scene, c *contender) (time.Duration, error) {
			return s.curlBig(ctx, c, o.file)
		}),
	}
}

func farMeasurements(o options) []measurement {
	rate := func(id, what string, at place, size int64, f func(c *contender, size int64) error) measurement {
		return measurement{
			id: id, at: at, who: noVariants, rounds: longRounds,
			rows: []row{{ID: id, Name: fmt.Sprintf("%s of %d MiB, round trip of %s", what, size>>20, at.name), Unit: "MB/s"}},
			run: func(_ context.Context, _ *scene, c *contender) ([]float64, error) {
				v, err := rateOf(size, func() error { return f(c, size) })
				return []float64{v}, err
			},
		}
	}
	trips := func(id, client string, f func(s *scene, ctx context.Context, c *contender, n int) (time.Duration, error)) measurement {
		return measurement{
			id: id, at: far, who: noVariants, rounds: longRounds,
			rows: []row{{ID: id, Name: fmt.Sprintf("round trips for each FTP file of %d KiB, %s", smallFile>>10, client), Unit: "RTT", LessBetter: true}},
			run: func(ctx context.Context, s *scene, c *contender) ([]float64, error) {
				return s.tripsPerFile(o.farFiles, func(n int) (time.Duration, error) { return f(s, ctx, c, n) })
			},
		}
	}
	return []measurement{
		rate("download-50ms", "download", far, o.farBulk, (*contender).download),
		rate("upload-50ms", "upload", far, o.farBulk, (*contender).upload),
		{
			id: "file-50ms", at: far, who: noVariants, rounds: longRounds,
			rows: []row{{ID: "file-50ms", Name: fmt.Sprintf("one FTP file of %d MiB, curl, round trip of %s", o.farFile>>20, far.name), Unit: "s", LessBetter: true}},
			run: func(ctx context.Context, s *scene, c *contender) ([]float64, error) {
				took, err := s.curlBig(ctx, c, o.farFile)
				return []float64{took.Seconds()}, err
			},
		},
		trips("trips-curl", "curl", (*scene).curlMany),
		trips("trips", "Go's client", (*scene).fetchMany),
		rate("download-200ms", "download", farther, o.farBulk/2, (*contender).download),
	}
}
