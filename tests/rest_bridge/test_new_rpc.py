"""An RPC that only its contract knows is in the REST API and in OpenAPI, bridge untouched."""

import json
from typing import Any

import grpc
import pytest
from yarl import URL

from rest_bridge.contract import load_contract
from tests.rest_bridge.contracts import compile_contract, with_real_contracts
from tests.rest_bridge.fakes import BEARER, Stage, served

SOURCE = """
message Bank {
  string id = 1 [(google.api.field_behavior) = REQUIRED];
  string bank = 2;
}
message QuoteRequest {
  // Which bank.
  Bank bank_code = 1 [
    (google.api.field_behavior) = REQUIRED,
    (payments.rest.v1.field_rule) = {bare_member: "id"}
  ];
  string bill_number = 2 [(google.api.field_behavior) = REQUIRED];
  google.type.Decimal amount = 3;
  repeated int32 sizes = 4;
  bool loud = 5;
}
message QuoteResponse {
  // The text, as asked for.
  string text = 1;
  google.type.Decimal fee = 2;
}
message Note { string text = 1 [(payments.rest.v1.field_rule) = {max_length: 5}]; }
message PutNoteRequest {
  int64 id = 1;
  Note note = 2 [(google.api.field_behavior) = REQUIRED];
  string tag = 3;
}
// Says what it costs.
service DemoService {
  // Ask for a price.
  //
  // Costs nothing.
  rpc Quote(QuoteRequest) returns (QuoteResponse) {
    option (google.api.http) = {
      get: "/quotes"
      additional_bindings { post: "/quotes" body: "*" }
    };
    option (payments.rest.v1.method_rule) = {
      scope: "demo:quote"
      reasons: [ERROR_REASON_MERCHANT_NOT_BIND]
      examples: {
        title: "A price"
        request: "billNumber=B1"
        response: "{\\"text\\":\\"x\\",\\"fee\\":0.10}"
      }
    };
  }
  rpc PutNote(PutNoteRequest) returns (QuoteResponse) {
    option (google.api.http) = {put: "/notes/{id}" body: "note"};
  }
}
"""
BANK = '{"id":"AMK","bank":"AMK"}'
# query -> id and bank that reach the service
QUERIES = [
    (f"bankCode={BANK}&billNumber=P1", ("AMK", "AMK")),
    ("bankCode=%7B%22id%22%3A%22AMK%22%2C%22bank%22%3A%22AMK%22%7D&billNumber=P1", ("AMK", "AMK")),
    ("bankCode.id=AMK&bankCode.bank=AMK&billNumber=P1", ("AMK", "AMK")),
    ("bankCode=AMK&billNumber=P1", ("AMK", "")),
]
REFUSED = [
    ("billNumber=P1", "bankCode: is required"),
    ("bankCode={&billNumber=P1", "bankCode: is not valid JSON"),
    ('bankCode={"id":1}&billNumber=P1', "bankCode.id: must be a string"),
    ('bankCode={"id":"A","x":1}&billNumber=P1', "bankCode.x: is not a member"),
    ('bankCode={"id":"A","id":"B"}&billNumber=P1', "bankCode.id: is given twice"),
    ("bankCode.bank=AMK&billNumber=P1", "bankCode.id: is required"),
    (f"bankCode={BANK}&bankCode.id=AMK&billNumber=P1", "bankCode.id: is given twice"),
    ("bankCode.id=A&bankCode.id=B&billNumber=P1", "bankCode.id: is given twice"),
    ("bankCode.id.x=A&bankCode=A&billNumber=P1", "bankCode.id.x: is not a parameter"),
    ("bankCode=A&billNumber=P1&amount=1e2", "amount: must be a plain decimal number"),
    ("bankCode=A&billNumber=P1&amount=x", "amount: must be a number"),
    ("bankCode=A&billNumber=P1&sizes=1&sizes=b", "sizes: must be a whole number"),
    ("bankCode=A&billNumber=P1&loud=1", "loud: must be true or false"),
]


class Demo:
    """Plays a service that the bridge was never told of."""

    def __init__(self, image: bytes) -> None:
        self.requests: list[Any] = []
        kinds = {one.name: one for one in load_contract(image=image).methods}
        self.handlers = grpc.method_handlers_generic_handler(
            "payments.demo.v1.DemoService",
            {
                name: grpc.unary_unary_rpc_method_handler(
                    self._answering(kinds[name].response),
                    kinds[name].request.FromString,
                    lambda one: one.SerializeToString(),
                )
                for name in ("Quote", "PutNote")
            },
        )

    def _answering(self, response: Any) -> Any:
        async def serve(request: Any, _context: Any) -> Any:
            self.requests.append(request)
            answer = response(text="ok")
            answer.fee.value = "0.10"
            return answer

        return serve


IMAGE = with_real_contracts(image=compile_contract(source=SOURCE))


async def get(stage: Stage, path: str) -> tuple[int, dict[str, Any]]:
    url = URL(stage.url(path), encoded=True)
    async with stage.client.get(url, headers=BEARER) as response:
        return response.status, json.loads(await response.text())


@pytest.mark.parametrize(("query", "bank"), QUERIES)
async def test_a_new_rpc_is_called_with_a_message_in_its_query(
    query: str, bank: tuple[str, str]
) -> None:
    demo = Demo(IMAGE)
    async with served(image=IMAGE, extra=demo.handlers) as stage:
        url = URL(stage.url(f"/quotes?{query}"), encoded=True)
        async with stage.client.get(url, headers=BEARER) as response:
            assert await response.text() == '{"success":true,"data":{"text":"ok","fee":0.10}}'
    code = demo.requests[0].bank_code
    assert (code.id, code.bank) == bank
    assert demo.requests[0].bill_number == "P1"


@pytest.mark.parametrize(("query", "details"), REFUSED)
async def test_a_bad_parameter_of_a_new_rpc_is_named(query: str, details: str) -> None:
    demo = Demo(IMAGE)
    async with served(image=IMAGE, extra=demo.handlers) as stage:
        status, document = await get(stage, f"/quotes?{query}")
    assert status == 400
    assert details in document["error"]["details"]
    assert demo.requests == []


async def test_lists_and_words_of_a_query_arrive() -> None:
    demo = Demo(IMAGE)
    async with served(image=IMAGE, extra=demo.handlers) as stage:
        query = "bankCode=A&billNumber=P1&sizes=1&sizes=2&loud=true&amount=1.50"
        status, _ = await get(stage, f"/quotes?{query}")
    assert status == 200
    got = demo.requests[0]
    assert (list(got.sizes), got.loud, got.amount.value) == ([1, 2], True, "1.50")


async def test_an_additional_binding_and_a_body_field_work_too() -> None:
    demo = Demo(IMAGE)
    headers = {**BEARER, "Content-Type": "application/json"}
    async with served(image=IMAGE, extra=demo.handlers) as stage:
        async with stage.client.post(
            stage.url("/quotes"), data=f'{{"bankCode":{BANK},"billNumber":"P1"}}', headers=headers
        ) as response:
            assert response.status == 200
        async with stage.client.put(
            stage.url("/notes/7?tag=t"), data='{"text":"abc"}', headers=headers
        ) as response:
            assert response.status == 200
        async with stage.client.put(
            stage.url("/notes/7"), data='{"text":"abcdef"}', headers=headers
        ) as response:
            assert "note.text: must have at most 5 characters" in await response.text()
    put = demo.requests[1]
    assert (put.id, put.note.text, put.tag) == (7, "abc", "t")


async def test_a_new_rpc_is_in_openapi_with_its_words() -> None:
    async with served(image=IMAGE, extra=Demo(IMAGE).handlers) as stage:
        _, document = await get(stage, "/openapi.json")
    operation = document["paths"]["/quotes"]["get"]
    assert operation["summary"] == "Ask for a price."
    assert operation["security"] == [{"bearer": ["demo:quote"]}]
    assert (
        "MERCHANT_NOT_BIND"
        in operation["responses"]["400"]["content"]["application/json"]["examples"]
    )
    assert {one.get("name") for one in operation["parameters"]} >= {"bankCode", "billNumber"}
    assert {one["name"] for one in document["tags"]} == {
        "GatewayService",
        "OperationsService",
        "KhqrService",
        "KhqrOperationsService",
        "DemoService",
    }
