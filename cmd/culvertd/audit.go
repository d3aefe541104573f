package main

import (
	"log/slog"
	"time"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/config"
)

// openAudit opens the audit log of the server. The caller must close it.
func (p program) openAudit(s config.Settings, log *slog.Logger) (*audit.Log, error) {
	if s.AuditLog == "" {
		events := audit.New(p.stderr, time.Now)
		events.SetContinue(s.AuditContinue)
		return events, nil
	}
	return audit.Open(s.AuditLog, audit.Options{Continue: s.AuditContinue, Log: log})
}
