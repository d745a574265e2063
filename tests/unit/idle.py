"""An application that neither consumes nor publishes anything."""

from waybill import App

app = App("idle")
