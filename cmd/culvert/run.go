package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/culvert-ssh/culvert/client"
	"github.com/culvert-ssh/culvert/login"
)

// run is the command. It returns the exit status: 0 after a signal or for -V and -h, and 255, as ssh(1),
// for everything else.
func run(args []string, stdout, stderr io.Writer) int {
	out := &printer{w: stderr}
	home, _ := os.UserHomeDir() // without one, there are no default files
	cfg := client.NewConfig(home, userName())
	cfg.AgentSocket = os.Getenv("SSH_AUTH_SOCK")

	err := parse(args, cfg)
	if err == nil {
		equip(cfg, out)
		err = serve(cfg)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errHelp):
		return printed(stdout, help)
	case errors.Is(err, errVersion):
		return printed(stdout, "culvert "+version+"\n")
	case errors.Is(err, errUsage):
		out.failure(err)
		out.line(usage)
		return 255
	default:
		out.failure(err)
		return 255
	}
}

// printed writes what was asked for and returns the exit status.
func printed(w io.Writer, text string) int {
	if _, err := io.WriteString(w, text); err != nil {
		return 255
	}
	return 0
}

// equip gives cfg what it reaches the person by.
func equip(cfg *client.Config, out *printer) {
	level := slog.LevelInfo
	switch cfg.LogLevel {
	case client.LevelDebug:
		level = slog.LevelDebug
	case client.LevelError:
		level = slog.LevelError
	case client.LevelQuiet:
		level = slog.LevelError + 1
	}
	cfg.Log = slog.New(&handler{out: out, level: level})
	if level <= slog.LevelInfo {
		cfg.Notice = out.line
	}
	if level <= slog.LevelDebug {
		d := &dialogue{out: out, color: colorful(out.w), now: time.Now}
		cfg.Dialogue = d.line
	}
	cfg.Ask = login.Asker{
		Askpass: os.Getenv("SSH_ASKPASS"),
		Require: os.Getenv("SSH_ASKPASS_REQUIRE"),
		Display: os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "",
	}.Ask
}

// tuneGC lets the heap grow to five times what is live before it is collected: x/crypto/ssh
// allocates for every packet that it receives, and next to nothing of it lives (docs/performance.md). GOGC in the
// environment wins.
func tuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// serve runs until a signal. A second one ends the program at once.
func serve(cfg *client.Config) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop)
	tuneGC()
	return client.Run(ctx, cfg)
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}
