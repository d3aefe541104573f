package main

import (
	"context"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/client"
	"github.com/culvert-ssh/culvert/screen"
)

const (
	// redrawEvery is how often a terminal shows what has changed.
	redrawEvery = 500 * time.Millisecond

	// tellEvery is how often a line is written about each transfer, where there is no terminal.
	tellEvery = 10 * time.Second
)

// progress shows what runs: on a terminal in a block below everything else, otherwise in a line now and then; and a line
// about each transfer that has ended.
type progress struct {
	board  *activity.Board
	out    *printer
	style  activity.Style
	screen *screen.Screen // nil if there is no terminal
}

// showProgress begins to show what runs by cfg, if that is wanted, and returns what ends it.
func showProgress(cfg *client.Config, out *printer) (stop func()) {
	if cfg.Activity == nil {
		return func() {}
	}
	p := &progress{board: cfg.Activity, out: out, style: activity.Style{Unicode: showsUnicode(os.Getenv)}}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.board.Run(ctx) })
	p.board.OnEnd = p.ended
	if f, ok := out.w.(*os.File); ok {
		p.screen, _ = screen.Open(f) // where that fails, there are lines
	}
	if p.screen == nil {
		wg.Go(func() { p.tell(ctx) })
		return func() { cancel(); wg.Wait() }
	}
	p.style.Color = colorful(out.w)
	out.redirect(p.screen)
	if ask := cfg.Ask; ask != nil {
		cfg.Ask = func(ctx context.Context, question string, echo bool) (string, error) {
			defer p.screen.Pause()()
			return ask(ctx, question, echo)
		}
	}
	wg.Go(func() { p.draw(ctx) })
	return func() {
		cancel()
		wg.Wait()
		p.screen.Close()
	}
}

// ended tells of a transfer that has ended. That a directory was listed is no news.
func (p *progress) ended(e activity.Ended) {
	if e.Direction != activity.Listing || e.Outcome == activity.Failed {
		p.out.line("culvert: " + e.Line(activity.Style{Unicode: p.style.Unicode}))
	}
}

// draw keeps the block up to date until ctx is done.
func (p *progress) draw(ctx context.Context) {
	tick := time.NewTicker(redrawEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			width, lines := p.screen.Size()
			st := p.style
			st.Width = width
			p.screen.Draw(st.Clip(p.board.Snapshot().Progress(st), min(lines, mostProgress)))
		}
	}
}

// mostProgress is how many lines of a terminal are taken at most: what is said above is to be seen, too.
const mostProgress = 12

// tell writes a line about each transfer that goes on for long.
func (p *progress) tell(ctx context.Context) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for x := range p.board.Snapshot().Transfers() {
				if now.Sub(x.Since) >= tellEvery/2 && x.Direction != activity.Listing {
					p.out.line("culvert: " + x.Line(p.style))
				}
			}
		}
	}
}

// showsUnicode reports whether the locale is one that more than ASCII can be shown in.
func showsUnicode(getenv func(string) string) bool {
	if runtime.GOOS == "windows" {
		return true
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(getenv(name)); value != "" {
			_, charset, _ := strings.Cut(value, ".")
			charset, _, _ = strings.Cut(charset, "@")
			return slices.Contains([]string{"utf-8", "utf8"}, charset)
		}
	}
	return false
}
