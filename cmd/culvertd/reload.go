package main

import (
	"errors"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/config"
)

// reopener is a log that can be opened anew. With an error it is as it was.
type reopener interface{ Reopen() error }

// reloadUnlessHandingOver reloads, or waits with it for who serves from now on.
func (d *daemon) reloadUnlessHandingOver() {
	d.postponed = true
	if d.heir == nil || d.heir.ready {
		d.reloadPostponed()
	}
}

func (d *daemon) reloadPostponed() {
	if d.postponed {
		d.postponed = false
		_ = d.reload() // it has said why
	}
}

// reloadNow is reload, but for the moment in which it isn't known who serves.
func (d *daemon) reloadNow() error {
	if d.heir != nil && !d.heir.ready {
		return errors.New("another process is about to take over: try again")
	}
	return d.reload()
}

// reload reads everything anew and puts it in the place of what holds, or says why not and changes nothing.
func (d *daemon) reload() error {
	if d.main.Load() {
		d.notifyReloading()
		defer func() { d.notifyReady() }()
	}
	for _, l := range d.logs {
		if err := l.Reopen(); err != nil {
			d.log.Error("the log stays the file that is open", "err", err)
		}
	}
	d.sayHead("reload")
	next, err := read(d.options)
	if err == nil {
		err = d.adopt(&next)
	}
	e := audit.Reload{File: d.options.config, SHA256: next.sha256, Result: "done"}
	if err != nil {
		e.Result, e.Reason = "refused", err.Error()
		d.log.Error("configuration is not read again; the old one stays", "config", d.options.config, "err", err)
	} else {
		d.log.Info("configuration is read again", "config", d.options.config, "sha256", next.sha256, "rules", next.rules())
	}
	d.put(e)
	d.before.tell(wordReload)
	return err
}

// adopt makes next what holds from now on. With an error, nothing has changed.
func (d *daemon) adopt(next *generation) error {
	change, err := d.changeSockets(next)
	if err != nil {
		return err
	}
	if err := d.srv.Update(next.live()); err != nil {
		change.opened.close()
		return err
	}
	d.current.Store(next)
	d.asked.Forget()
	d.level.Set(next.global.LogLevel)
	d.events.SetContinue(next.global.AuditContinue)
	d.warn(next)
	d.warnFixed(next.global)

	d.sockets = change.all
	for _, s := range change.opened {
		d.accept(s)
	}
	for _, s := range change.gone {
		d.log.Info("not listening any more", "address", s.listener.Addr().String())
	}
	change.gone.shut()
	d.rechecks.Go(d.srv.Recheck)
	if path := next.global.PidFile; d.main.Load() && path != d.pid.path {
		d.pid.remove()
		d.pid = pidFile{path}
		d.writePID()
	}
	return nil
}

// changeSockets opens what next wants to be listened on besides what is. Once another process has taken over, that is its affair.
func (d *daemon) changeSockets(next *generation) (change, error) {
	if !d.main.Load() {
		return change{}, nil
	}
	return d.sockets.change(d.current.Load().global.ListenAddress, next.global.ListenAddress, d.log)
}

// warn logs what the configuration is warned of.
func (d *daemon) warn(g *generation) {
	for _, w := range g.warnings {
		if w.Stock {
			continue // that is for whoever writes the file
		}
		d.log.Warn("configuration", "rule", w.At.String(), "keyword", w.Keyword, "reason", w.Text)
	}
}

// fixed are the keywords whose value at the start holds until the end.
var fixed = []struct {
	keyword string
	value   func(config.Settings) any
}{
	{"AuditLog", func(s config.Settings) any { return s.AuditLog }},
	{"MetricsListen", func(s config.Settings) any { return s.MetricsListen }},
	{"ControlSocket", func(s config.Settings) any { return s.ControlSocket }},
}

// warnFixed says what a reload doesn't change.
func (d *daemon) warnFixed(now config.Settings) {
	for _, f := range fixed {
		if f.value(d.started) != f.value(now) {
			d.log.Warn("configuration: a change of this keyword needs a restart, or SIGUSR2", "keyword", f.keyword)
		}
	}
}
