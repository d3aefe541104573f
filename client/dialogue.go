package client

import (
	"log/slog"

	"github.com/culvert-ssh/culvert/control"
)

// DialogueLine is a line on an FTP control connection.
type DialogueLine = control.Line

// Who says a DialogueLine.
const (
	SaidByClient  = control.Client
	SaidByServer  = control.Server
	SaidByCulvert = control.Here
)

// dialogue counts a control connection, and returns who is told its lines; nil if nobody is.
func (c *Config) dialogue(log *slog.Logger) func(DialogueLine) {
	if c.Dialogue == nil {
		return nil
	}
	n := int(c.dialogues.Add(1))
	log.Debug("FTP dialogue begins", "number", n)
	return func(l DialogueLine) { c.Dialogue(n, l) }
}
