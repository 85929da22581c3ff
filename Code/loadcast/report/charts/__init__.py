"""Charts as SVG, each a function of plain numbers; what they look like stands in charts.css."""
