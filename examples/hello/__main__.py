from waybill import App, Topic

names = Topic("names", str)
app = App("hello")


@app.consume(names)
async def greet(name: str) -> None:
    print(f"Hello, {name}!")


with app.sync.running():
    app.sync.publish(names, "world")
app.run()  # until Ctrl-C
