"""A flow as YAML that people read, edit and keep in Git.

```yaml
levada: 1                                # the version of this format
name: New York flights
parameters:                              # the flow's own: a value, or value and description
  speed: {value: 3600, description: How many times faster than life}
  password: {sensitive: true}            # its value stays in the home, encrypted
services:
  http map: {type: StandardHttpContextMap}
flow:                                    # processors and funnels; their order is that on screen
  flights:
    type: ReplayFlights
    properties: {Speed: "#{speed}"}
    to: route                            # its one relationship
  route:
    type: RouteOnAttribute
    properties:
      delayed: ${arr_delay:toNumber():gt(15)}
    to:
      delayed: [count, {merge: {max count: 20000, prioritize: oldest}}]
      unmatched: end                     # `end` terminates it, `hold` keeps its flowfiles
layout:
  flights: [0, 0]
```

What binds:

- **Names, not ids.** A name is unique within its group, whatever its kind; `end` and `hold` are
  none. `group/port` is an input port of a child group; a part that holds a slash, a comma or a
  quote stands in double quotes. Ids are matched when a text is read (`matching`).
- **Every value is the text that stands there**: `1.10` and `yes` are no number and no truth.
  Nothing (`key:`), `~` and `null` are no value at all.
- **Several relationships in one key** (`success, retry: next`) share one connection; in two keys
  they have one each. Settings of a connection stand beside its target.
- **An output port's `to`** is read in the group around it: that is where it leads.
- **Parameters**: `parameters` at the top is the context `flow`; a group names the context that it
  uses (`parameters: flow`), and inherits none. Others stand under `contexts`.
- **Secrets** never stand in a text. `Password: {sensitive: true}` says that the home has one.
- **Defaults are left out**; positions, and bends of connections, stand in `layout` at the end.
- A text that is written over a previous one keeps its comments, order and spelling (`writer`).

Failure: reading notes every mistake with its line (`errors`), and never raises for what a text
says. Bounds: 4 million characters, 100 levels, 500,000 values after aliases are expanded.
"""

from runtime.flow_text.difference import difference
from runtime.flow_text.errors import FlowProblem
from runtime.flow_text.linking import Positions
from runtime.flow_text.matching import Gone
from runtime.flow_text.names import with_distinct_names
from runtime.flow_text.reading import FlowReading, read_flow
from runtime.flow_text.schema import flow_schema
from runtime.flow_text.writer import write_flow

__all__ = [
    "FlowProblem",
    "FlowReading",
    "Gone",
    "Positions",
    "difference",
    "flow_schema",
    "read_flow",
    "with_distinct_names",
    "write_flow",
]
