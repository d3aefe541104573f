package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// notify tells the service manager, if there is one (sd_notify(3)).
func (d *daemon) notify(lines ...string) {
	if _, err := systemd.SdNotify(false, strings.Join(lines, "\n")); err != nil {
		d.log.Warn("the service manager is not told", "what", lines[0], "err", err)
	}
}

// notifyReady says that what was read holds.
func (d *daemon) notifyReady(more ...string) {
	var at []string
	for _, s := range d.sockets {
		at = append(at, s.listener.Addr().String())
	}
	status := fmt.Sprintf("STATUS=listening on %s, %d rules", strings.Join(at, " "), d.current.Load().rules())
	d.notify(append([]string{systemd.SdNotifyReady, status}, more...)...)
}

// notifyReloading must be followed by notifyReady.
func (d *daemon) notifyReloading() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		d.log.Warn("the monotonic clock can't be read", "err", err)
	}
	d.notify(systemd.SdNotifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
}

// watch tells the service manager at every half of WatchdogSec that the bastion does its work, if it does: that the accept
// loops come round, and that the audit log takes turns. A question that is never answered is no sign of life either. It returns when ctx is done.
func (d *daemon) watch(ctx context.Context) {
	interval, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		d.log.Warn("there is no watchdog", "err", err)
	}
	if interval <= 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !d.main.Load() {
			continue // the main process speaks for both
		}
		if err := d.alive(interval); err != nil {
			d.log.Error("no sign of life is given to the service manager", "err", err)
			continue
		}
		d.notify(systemd.SdNotifyWatchdog)
	}
}

func (d *daemon) alive(limit time.Duration) error {
	if err := d.srv.Stuck(limit); err != nil {
		return err
	}
	d.events.State() // whatever it is
	return nil
}
