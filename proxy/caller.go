package proxy

import "github.com/labstack/echo/v4"

// callerName returns who asks.
func callerName(echo.Context) string { return "anonymous" }
